"""From folders of image files to arrays: which files there are, their pixels, the cache, and a report of it all."""
