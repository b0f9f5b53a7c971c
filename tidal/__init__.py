"""The application: the `tidal` command line, its jobs and reports. Only this package prints."""
