"""How text, tables, numbers and figures are drawn, whatever their content."""
