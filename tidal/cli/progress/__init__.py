"""Progress bar notes and callbacks, one module for each kind of job."""
