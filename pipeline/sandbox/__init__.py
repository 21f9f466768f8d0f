"""A process that runs code which is not trusted, and the rights that it gives up before it does.

unpickle   the process: makes a pickle's objects and writes their tensors
   -> confine    gives up rights, and says which
       -> landlock, seccomp    what the kernel offers for it
"""
