"""What leaves the machine: the incident in time order, its report, and the bundle for those who help."""
