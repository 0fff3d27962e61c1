"""Speed, measured side by side in one run; results and the table made from them lie beside this file."""
