"""freeze-writer: the batch writer stopped, and how long Redis can take what comes meanwhile."""
