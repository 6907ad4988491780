"""The app inside a browser page; ``fastdraft_app.serve`` starts it for each page."""
