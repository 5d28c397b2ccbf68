"""What walmedic keeps of its own: the state directory, journal, locks, copies."""
