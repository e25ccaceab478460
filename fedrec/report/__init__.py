"""Reading runs, tables, plots, the HTML report and live progress."""
