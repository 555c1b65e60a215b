"""Everything back: the net change of an incident, undone in one transaction that is itself audited and undoable."""
