"""Dialogs that every screen opens: questions, pickers, help, exports."""
