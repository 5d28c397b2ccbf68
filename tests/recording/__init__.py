"""The recording at the top of README: the incident brought back in the console, made by a script from the demo."""
