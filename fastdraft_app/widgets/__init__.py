"""One widget a file; widgets know data, not engines."""
