"""What a screen remembers while people label and look: live maps, their messages and the scores made beside them; no Streamlit."""
