"""Who runs it: the command line, the Prefect flows, and the reports that people read."""
