"""`report.html`: what a run's folder holds, told on one page; read without torch."""
