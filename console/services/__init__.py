"""Service backends: how the station's processes are seen, stopped and started (systemd, supervisor)."""
