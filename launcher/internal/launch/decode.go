package launch

import (
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

const (
	buildpacksTable = "buildpacks"
	processesTable  = "processes"
)

// decodeQuickly reads metadata.toml in the shape in which lifecycles write it: lists of tables such as [[processes]],
// and keys whose values are strings, booleans or lists of strings. It takes a fraction of the time of the general
// decoder, which fills structs by reflection and is left to read, or refuse, every other document: where ok is false,
// nothing is known of this one.
func decodeQuickly(content []byte) (found metadata, ok bool) {
	var parser unstable.Parser
	parser.Reset(content)
	table := ""                       // the list that the current table belongs to; empty at the top
	keys := []string{}                // of the current table, so far
	top := map[string]unstable.Kind{} // what every name at the top is
	for parser.NextExpression() {
		expression := parser.Expression()
		name, plain := plainKey(expression)
		if !plain {
			return metadata{}, false
		}
		if expression.Kind == unstable.ArrayTable {
			if kind, used := top[name]; used && kind != unstable.ArrayTable {
				return metadata{}, false
			}
			table, keys, top[name] = name, keys[:0], unstable.ArrayTable
			found.add(table)
			continue
		}
		if slices.Contains(keys, name) || !found.set(table, name, expression.Value()) {
			return metadata{}, false
		}
		keys = append(keys, name)
		if table == "" {
			top[name] = unstable.KeyValue
		}
	}
	return found, parser.Error() == nil
}

// plainKey is the name that a key, or the header of a list of tables, consists of. Names with capitals are left out
// because the general decoder takes them for fields, too.
func plainKey(expression *unstable.Node) (string, bool) {
	if expression.Kind != unstable.KeyValue && expression.Kind != unstable.ArrayTable {
		return "", false
	}
	parts := expression.Key()
	if !parts.Next() {
		return "", false
	}
	name, odd := string(parts.Node().Data), func(r rune) bool { return (r < 'a' || r > 'z') && r != '-' }
	return name, !parts.Next() && !strings.ContainsFunc(name, odd)
}

// add begins a table of the list.
func (m *metadata) add(list string) {
	switch list {
	case buildpacksTable:
		m.Buildpacks = append(m.Buildpacks, buildpack{})
	case processesTable:
		m.Processes = append(m.Processes, process{})
	}
}

// set gives a value to a key of the table begun last; false when it is of no plain type, or not of that key's type.
func (m *metadata) set(list, key string, node *unstable.Node) bool {
	value, plain := plainValue(node)
	switch {
	case !plain:
		return false
	case list == buildpacksTable:
		return m.Buildpacks[len(m.Buildpacks)-1].set(key, value)
	case list == processesTable:
		return m.Processes[len(m.Processes)-1].set(key, value)
	}
	return list != "" || key != buildpacksTable && key != processesTable
}

func (b *buildpack) set(key string, value any) bool {
	switch key {
	case "id":
		return assign(&b.ID, value)
	case "api":
		return assign(&b.API, value)
	}
	return true
}

func (p *process) set(key string, value any) bool {
	switch key {
	case "type":
		return assign(&p.Type, value)
	case "command":
		p.RawCommand = value
	case "args":
		return assign(&p.Args, value)
	case "direct":
		return assign(&p.Direct, value)
	case "buildpack-id":
		return assign(&p.BuildpackID, value)
	case "working-dir":
		return assign(&p.WorkingDir, value)
	case "exec-env":
		return assign(&p.ExecEnv, value)
	}
	return true
}

func assign[T any](field *T, value any) bool {
	typed, ok := value.(T)
	*field = typed
	return ok
}

// plainValue is a string, a bool or a []string.
func plainValue(node *unstable.Node) (any, bool) {
	switch node.Kind {
	case unstable.String:
		return string(node.Data), true
	case unstable.Bool:
		return string(node.Data) == "true", true
	case unstable.Array:
		words := []string{}
		for children := node.Children(); children.Next(); {
			if children.Node().Kind != unstable.String {
				return nil, false
			}
			words = append(words, string(children.Node().Data))
		}
		return words, true
	}
	return nil, false
}
