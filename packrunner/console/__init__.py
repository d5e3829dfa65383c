"""What people and machines see of a build: renderers of packrunner/events.py, and the formats they share.

Nothing here imports rich until a live display has something to show that lasts.

    units     durations, sizes, counts, lists as text        terminal  what a stream can show: colour, width, motion
    redact    secrets and escape sequences taken out         layout    rows in their columns
    problem   errors as text and as JSON                     plain     the renderer for pipes, and the base of `live`
    live      the renderer for terminals                     machine   one JSON event per line
    log       the same story in a file                       reporters one of them, chosen, and several as one
"""
