"""capture-evidence: copies of a table and of what lies around it, before anything changes them."""
