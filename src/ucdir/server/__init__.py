"""`ucdir serve`: restores photographs for programs and for a page, over HTTP; docs/serve.md describes it.

connection.py   deadlines of a connection            guard.py     who may ask; headers of answers
app.py          addresses                            openapi.py   their description
uploads.py      a form, as it arrives                folder.py    where its photo lives
jobs.py         queue, progress, stopping            models.py    what the one worker thread runs

The libraries of the extra `serve` are imported by these files, and by nothing else.
"""
