"""The only package that knows Streamlit: the shell around the pages, session state, shared widgets, the label map."""
