"""The lesson that goes with an open project: its panel on every page, and what is shown of the truth."""
