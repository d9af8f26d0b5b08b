package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"zimg/docs"
)

// readSchema is docs/zimg.schema.json.
var readSchema = sync.OnceValues(func() (map[string]any, error) {
	var schema map[string]any
	return schema, json.Unmarshal(docs.Schema, &schema)
})

// schemaKeywords are the keywords of JSON Schema that a validation knows; another one in the schema is an error.
var schemaKeywords = []string{
	"$ref", "type", "enum", "const", "minimum", "pattern", "properties", "required", "additionalProperties", "items",
}

// validate reports where value is not as the schema s says; path is the place of value.
func validate(defs, s map[string]any, value any, path string) error {
	for k := range s {
		if !slices.Contains(schemaKeywords, k) {
			return fmt.Errorf("%s: unknown keyword %q in the schema", path, k)
		}
	}
	if ref, ok := s["$ref"].(string); ok {
		target, ok := defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !ok {
			return fmt.Errorf("%s: no definition %q", path, ref)
		}
		return validate(defs, target, value, path)
	}
	if want, ok := s["type"]; ok && !hasType(want, value) {
		return fmt.Errorf("%s: %v is not of type %v", path, value, want)
	}
	if list, ok := s["enum"].([]any); ok && !slices.Contains(list, value) {
		return fmt.Errorf("%s: %v is not one of %v", path, value, list)
	}
	if want, ok := s["const"]; ok && want != value {
		return fmt.Errorf("%s: %v is not %v", path, value, want)
	}
	switch v := value.(type) {
	case float64:
		if least, ok := s["minimum"].(float64); ok && v < least {
			return fmt.Errorf("%s: %v is less than %v", path, v, least)
		}
	case string:
		if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(v) {
			return fmt.Errorf("%s: %q does not match %s", path, v, pattern)
		}
	case []any:
		items, ok := s["items"].(map[string]any)
		if !ok {
			return fmt.Errorf("%s: the schema does not say what the items are", path)
		}
		for i, item := range v {
			if err := validate(defs, items, item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		return validateObject(defs, s, v, path)
	}
	return nil
}

func validateObject(defs, s, object map[string]any, path string) error {
	required, _ := s["required"].([]any)
	for _, k := range required {
		if _, ok := object[k.(string)]; !ok {
			return fmt.Errorf("%s: no key %q", path, k)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for k, v := range object {
		p, ok := properties[k].(map[string]any)
		if !ok {
			p, ok = s["additionalProperties"].(map[string]any)
		}
		if !ok {
			return fmt.Errorf("%s: unknown key %q", path, k)
		}
		if err := validate(defs, p, v, path+"."+k); err != nil {
			return err
		}
	}
	return nil
}

// hasType reports whether value has the type, or one of the types, that want names.
func hasType(want, value any) bool {
	if list, ok := want.([]any); ok {
		return slices.ContainsFunc(list, func(w any) bool { return hasType(w, value) })
	}
	switch v := value.(type) {
	case nil:
		return want == "null"
	case bool:
		return want == "boolean"
	case float64:
		return want == "integer" && v == float64(int64(v))
	case string:
		return want == "string"
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return false
}

// checkSchema compares a document with a definition in the schema.
func checkSchema(definition, document string) error {
	schema, err := readSchema()
	if err != nil {
		return err
	}
	defs, _ := schema["$defs"].(map[string]any)
	s, ok := defs[definition].(map[string]any)
	if !ok {
		return fmt.Errorf("the schema does not define %q", definition)
	}
	var value any
	if err := json.Unmarshal([]byte(document), &value); err != nil {
		return err
	}
	return validate(defs, s, value, definition)
}

// schema DEFINITION [FILE]: the file, or the last standard output, is as the schema defines it.
func scriptSchema(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: schema DEFINITION [FILE]")
	}
	file := "stdout"
	if len(args) == 2 {
		file = args[1]
	}
	ts.Check(checkSchema(args[0], ts.ReadFile(file)))
}

// The schema is one that refuses: unknown keys, missing keys, other types, other words.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	const good = `{"a":"x","b":"y","identical":false,"differences-truncated":false,"differences":[{"nsid":1,"zone":2,"what":"state","a":"full","b":"closed"}]}`
	if err := checkSchema("compare", good); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`"a":"x",`, ``},
		{`"a":"x"`, `"a":1`},
		{`"a":"x"`, `"a":"x","c":1`},
		{`"state"`, `"write pointer"`},
		{`"nsid":1`, `"nsid":0`},
		{`"zone":2`, `"zone":2.5`},
		{`"zone":2`, `"zone":"2"`},
		{`"identical":false`, `"identical":null`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("%s is not in the document", change[0])
		}
		if err := checkSchema("compare", bad); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}

// The keys of the schema are those of the types that are written, and every definition is used.
func TestSchemaKeys(t *testing.T) {
	t.Parallel()
	schema, err := readSchema()
	if err != nil {
		t.Fatal(err)
	}
	defs := schema["$defs"].(map[string]any)
	for name, view := range map[string]any{
		"info": infoView{}, "foreign-info": foreignInfoView{}, "snapshot": []snapshotView{}, "fault-list": []faultView{},
		"check": checkView{}, "unchecked": uncheckedView{}, "compare": compareView{}, "crash-list": crashList{},
	} {
		want := map[string]bool{}
		typeKeys(reflect.TypeOf(view), want)
		got := map[string]bool{}
		schemaKeys(defs, defs[name], got)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the schema has the keys %v, the type %v", name, got, want)
		}
	}
	used := map[string]bool{}
	for _, ref := range regexp.MustCompile(`#/\$defs/([a-z-]+)`).FindAllStringSubmatch(fmt.Sprint(schema), -1) {
		used[ref[1]] = true
	}
	for name := range defs {
		if !used[name] {
			t.Errorf("the definition %s is not used", name)
		}
	}
}

// schemaKeys collects the keys of the objects that the schema s describes, without the names of states.
func schemaKeys(defs map[string]any, s any, keys map[string]bool) {
	m, ok := s.(map[string]any)
	if !ok {
		return
	}
	if ref, ok := m["$ref"].(string); ok {
		if ref != "#/$defs/zone-states" {
			schemaKeys(defs, defs[strings.TrimPrefix(ref, "#/$defs/")], keys)
		}
		return
	}
	properties, _ := m["properties"].(map[string]any)
	for k, p := range properties {
		keys[k] = true
		schemaKeys(defs, p, keys)
	}
	schemaKeys(defs, m["items"], keys)
}
