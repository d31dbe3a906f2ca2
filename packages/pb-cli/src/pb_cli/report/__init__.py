"""The report of a run: one document, written as a page that stands alone or as Markdown."""
