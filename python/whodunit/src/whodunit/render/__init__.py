"""One report, three faces; each spells out what a log could have hidden in it."""
