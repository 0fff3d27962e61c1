"""What one field of a table or of a header says: ids, views, ages, sexes, blank cells and label cells."""
