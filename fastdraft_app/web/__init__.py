"""The app inside a browser page; ``fastdraft_app.web.serve`` starts it for each page."""
