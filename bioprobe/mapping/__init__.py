"""Two coordinates for each image: a map on which pictures that are alike lie near each other."""
