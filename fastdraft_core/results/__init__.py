"""What sweeps found, kept in folders: read, compare, export. Light enough for the app to import."""
