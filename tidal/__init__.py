"""The application: the `tidal` command line. It alone prints; what it calls can be called without it."""
