"""What every reader of a label table shares: how a table, an id, a label cell, a view and a column are read."""
