"""Results of a comparison: scores, paired tests, costs, and the page that shows them."""
