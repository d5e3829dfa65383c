"""Live reload: the rules, the watcher, the running application, and the files of other tools that sync."""
