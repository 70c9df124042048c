package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kvd-db/kvd/kv"
)

const (
	envPrefix  = "KVD_"
	configFlag = "config"
)

// envOfOthers are variables that begin with KVD_ and are not the server's.
var envOfOthers = []string{"KVD_TARGET", "KVD_KEYSPACE", "KVD_TIMEOUT"}

// addSettings gives a command the flags of all settings.
func addSettings(f *pflag.FlagSet) {
	f.String(configFlag, "", "TOML `FILE` with settings, or KVD_CONFIG; an entry has the name of its flag")
	for _, s := range settings {
		if s.isBool {
			f.Bool(s.key, s.def == "true", s.help)
			continue
		}
		help := s.help
		if s.example != "" {
			help = "`" + s.example + "`: " + s.help
		}
		f.String(s.key, s.def, help)
	}
}

// layers are the settings as they were put together: later sources win.
type layers struct {
	merged *koanf.Koanf
	source map[string]string // by key: where its value came from
}

// loadLayers lays flags over the environment over the file over the defaults. An unknown key
// in any of them is an error.
func loadLayers(flags *pflag.FlagSet, environ []string) (*layers, error) {
	l := &layers{merged: koanf.New("."), source: map[string]string{}}
	defaults := map[string]any{}
	for _, s := range settings {
		defaults[s.key] = s.def
	}
	env, file, err := fromEnvironment(environ)
	if err != nil {
		return nil, err
	}
	if f := flags.Lookup(configFlag); f != nil && f.Changed {
		file = f.Value.String()
	}
	if err := l.load(defaults, "default"); err != nil {
		return nil, err
	}
	if file != "" {
		values, err := fromFile(file)
		if err != nil {
			return nil, err
		}
		if err := l.load(values, "file "+file); err != nil {
			return nil, err
		}
	}
	if err := l.load(env, "environment"); err != nil {
		return nil, err
	}
	given := map[string]any{}
	flags.Visit(func(f *pflag.Flag) {
		if settingOf(f.Name) != nil {
			given[f.Name] = f.Value.String()
		}
	})
	return l, l.load(given, "flag")
}

// load lays one source over those before.
func (l *layers) load(values map[string]any, source string) error {
	if err := l.merged.Load(mapProvider(values), nil); err != nil {
		return kv.Errorf(kv.Invalid, "%s: %v", source, err)
	}
	for key := range values {
		l.source[key] = source
	}
	return nil
}

// mapProvider gives koanf a map.
type mapProvider map[string]any

// ReadBytes is not used: there is nothing to parse.
func (m mapProvider) ReadBytes() ([]byte, error) { return nil, errors.New("a map has no bytes") }

// Read returns the map.
func (m mapProvider) Read() (map[string]any, error) { return m, nil }

// fileProvider gives koanf the bytes of a file.
type fileProvider string

// ReadBytes reads the file.
func (p fileProvider) ReadBytes() ([]byte, error) { return os.ReadFile(string(p)) }

// Read is not used: a file has to be parsed.
func (p fileProvider) Read() (map[string]any, error) { return nil, errors.New("a file is parsed") }

func fromFile(path string) (map[string]any, error) {
	k := koanf.New(".")
	if err := k.Load(fileProvider(path), toml.Parser()); err != nil {
		return nil, kv.Errorf(kv.Invalid, "the configuration file %s cannot be used: %v", path, err)
	}
	values := map[string]any{}
	for key, v := range k.Raw() {
		if settingOf(key) == nil {
			return nil, unknown(key, "the configuration file "+path)
		}
		text, err := asText(v)
		if err != nil {
			return nil, kv.Errorf(kv.Invalid, "%s in the configuration file %s: %v", key, path, err)
		}
		values[key] = text
	}
	return values, nil
}

// asText makes what a TOML file may hold the text that a flag would hold.
func asText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int64:
		return fmt.Sprint(v), nil
	case []any:
		var parts []string
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return "", fmt.Errorf("the list holds %v, which is no text", x)
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("%v is no text, number, bool or list", v)
}

// fromEnvironment takes the KVD_* variables.
func fromEnvironment(environ []string) (values map[string]any, file string, err error) {
	values = map[string]any{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		rest, ok := strings.CutPrefix(name, envPrefix)
		if !ok || slices.Contains(envOfOthers, name) {
			continue
		}
		key := strings.ReplaceAll(strings.ToLower(rest), "_", "-")
		switch {
		case key == configFlag:
			file = value
		case settingOf(key) == nil:
			return nil, "", unknown(name, "the environment")
		default:
			values[key] = value
		}
	}
	return values, file, nil
}

func unknown(key, where string) error {
	return kv.Errorf(kv.Invalid, "there is no setting %s, found in %s: kvd config print lists all", key, where)
}

// build makes the options of a node out of the layers.
func (l *layers) build() (*config, error) {
	c := &config{}
	for _, s := range settings {
		if err := s.apply(c, l.merged.String(s.key)); err != nil {
			e := kv.AsError(err)
			return nil, kv.Errorf(e.Kind, "%s (from %s)", e.Message, l.source[s.key])
		}
	}
	if c.host.Network.AdminListen == "none" {
		c.host.Network.AdminListen = ""
	}
	if err := checkLog(c); err != nil {
		return nil, err
	}
	return c, c.host.Validate()
}

func newConfig() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Show or check the settings that kvd start would use"}
	c.AddCommand(newConfigPrint(), newConfigCheck())
	return c
}

func newConfigPrint() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "print",
		Short: "Print every setting with its value and where that came from",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := loadLayers(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			return l.print(c, format)
		},
	}
	addSettings(c.Flags())
	c.Flags().StringVarP(&format, "output", "o", "table", "`FORMAT`: table or json")
	return c
}

func (l *layers) print(c *cobra.Command, format string) error {
	switch format {
	case "json":
		type row struct {
			Key    string `json:"key"`
			Value  string `json:"value"`
			Source string `json:"source"`
		}
		enc := json.NewEncoder(c.OutOrStdout())
		for _, s := range settings {
			if err := enc.Encode(row{s.key, l.merged.String(s.key), l.source[s.key]}); err != nil {
				return err
			}
		}
		return nil
	case "table":
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "SETTING\tVALUE\tFROM")
		for _, s := range settings {
			fmt.Fprintf(w, "%s\t%s\t%s\n", s.key, l.merged.String(s.key), l.source[s.key])
		}
		return w.Flush()
	}
	return unknownFormat(format)
}

func newConfigCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Say whether kvd start would accept the settings",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := loadLayers(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if _, err := l.build(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), "ok")
			return err
		},
	}
	addSettings(c.Flags())
	return c
}
