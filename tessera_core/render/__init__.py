"""Pictures of rasters: arrays in, pixels or PNG bytes out.

Owns palette PNGs, embedding and true-colour pictures, and the grid a browser map is drawn on; refuses to know Streamlit.
"""
