"""The page Explore: its region, pictures, scatter, pixel time series, similarity search and clusters."""
