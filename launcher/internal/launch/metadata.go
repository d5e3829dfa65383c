package launch

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// metadata is what the launcher needs of <layers>/config/metadata.toml (BLD-15).
type metadata struct {
	Buildpacks []buildpack `toml:"buildpacks"`
	Processes  []process   `toml:"processes"`
}

type buildpack struct {
	ID  string `toml:"id"`
	API string `toml:"api"`

	version version
}

// directory is the buildpack's name below the layers directory.
func (b buildpack) directory() string {
	return strings.ReplaceAll(b.ID, "/", "_")
}

type process struct {
	Type        string   `toml:"type"`
	RawCommand  any      `toml:"command"` // a list of strings, or one string when written for Platform API < 0.10
	Args        []string `toml:"args"`
	Direct      bool     `toml:"direct"`
	BuildpackID string   `toml:"buildpack-id"`
	WorkingDir  string   `toml:"working-dir"`
	ExecEnv     []string `toml:"exec-env"`

	command []string
}

func readMetadata(path string) (metadata, error) {
	content, err := readFile(path)
	if err != nil {
		return metadata{}, fail(CodeMetadata, "cannot read %s: %v: is CNB_LAYERS_DIR right, and the image whole?", path, errors.Unwrap(err))
	}
	parsed, err := parseMetadata(content)
	if err != nil {
		return metadata{}, fail(CodeMetadata, "%s: %s: rebuild the image", path, oneLine(err))
	}
	return parsed, nil
}

func parseMetadata(content []byte) (metadata, error) {
	parsed, usual := decodeQuickly(content)
	if !usual {
		parsed = metadata{}
		if err := toml.Unmarshal(content, &parsed); err != nil {
			return metadata{}, err
		}
	}
	for i := range parsed.Processes {
		p := &parsed.Processes[i]
		var err error
		if p.command, err = parseCommand(p.RawCommand); err != nil {
			return metadata{}, fmt.Errorf("process %q: %w", p.Type, err)
		}
	}
	return parsed, nil
}

func parseCommand(value any) ([]string, error) {
	switch value := value.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{value}, nil
	case []string:
		return value, nil
	case []any:
		words := make([]string, len(value))
		for i, word := range value {
			text, isText := word.(string)
			if !isText {
				return nil, errors.New("command holds something other than strings")
			}
			words[i] = text
		}
		return words, nil
	}
	return nil, errors.New("command is neither a string nor a list of strings")
}

// oneLine is the first line of an error text, with its position where the TOML library knows it.
func oneLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	var position *toml.DecodeError
	if errors.As(err, &position) {
		row, column := position.Position()
		return fmt.Sprintf("line %d, column %d: %s", row, column, text)
	}
	return text
}
