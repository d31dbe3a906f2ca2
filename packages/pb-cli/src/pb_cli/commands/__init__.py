"""One file per verb, named as typed; heavy packages are imported when a verb runs."""
