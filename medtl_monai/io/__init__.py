"""Reading scans truly and writing results whole."""
