"""Look through a tracked recording in the browser, and mend what was tracked wrong."""
