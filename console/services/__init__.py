"""The services of a station: what runs them, in which state they are, and how they are started and stopped."""
