"""Progress bars of the jobs."""
