"""Reference pictures: what people look at beside a map to say what is there, from services, files and satellite time series.

Owns what a base layer is, how an address or the description of a service becomes one, keys, and the small pictures of a place.
It refuses to know projects and pages; tiles are fetched by the browser that shows them and never from here.
"""

__all__: list[str] = []
