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

// decodeQuickly reads metadata.toml in the shapes in which lifecycles write it: lists of tables, either [[processes]]
// or processes = [{}], and keys whose values are strings, booleans or lists of strings. It takes a fraction of the time
// of the general decoder, which fills structs by reflection and is left to read, or refuse, every other document: where
// ok is false, nothing is known of this one.
func decodeQuickly(content []byte) (found metadata, ok bool) {
	var parser unstable.Parser
	parser.Reset(content)
	top := table{}
	current := &top
	for parser.NextExpression() {
		expression := parser.Expression()
		if expression.Kind != unstable.ArrayTable {
			if !found.setPair(current, expression) {
				return metadata{}, false
			}
			continue
		}
		name, plain := plainKey(expression)
		if !plain || slices.Contains(top.keys, name) {
			return metadata{}, false
		}
		current = &table{list: name}
		found.add(name)
	}
	return found, parser.Error() == nil
}

// table is one of a list of tables, or the top of the document, where list is empty; with its keys so far.
type table struct {
	list string
	keys []string
}

// setPair takes over a key of a table.
func (m *metadata) setPair(of *table, pair *unstable.Node) bool {
	key, plain := plainKey(pair)
	if !plain || slices.Contains(of.keys, key) {
		return false
	}
	of.keys = append(of.keys, key)
	value := pair.Value()
	if first := value.Child(); of.list == "" && value.Kind == unstable.Array && (first == nil || first.Kind == unstable.InlineTable) {
		return m.setTables(key, value)
	}
	return m.set(of.list, key, value)
}

// setTables takes over a list of tables that is written inline.
func (m *metadata) setTables(list string, array *unstable.Node) bool {
	for children := array.Children(); children.Next(); {
		if children.Node().Kind != unstable.InlineTable {
			return false
		}
		m.add(list)
		inline := table{list: list}
		for pairs := children.Node().Children(); pairs.Next(); {
			if !m.setPair(&inline, pairs.Node()) {
				return false
			}
		}
	}
	return true
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
	return name, name != "" && !parts.Next() && !strings.ContainsFunc(name, odd)
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
