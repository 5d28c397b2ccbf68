"""What each pane of the dashboard says: text made from samples, no widget in it."""
