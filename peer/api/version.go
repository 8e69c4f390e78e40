package api

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// versioned puts "v":1 into each object of an answer, alone or in a list.
func versioned(_ huma.Context, _ string, answer any) (any, error) {
	v := reflect.ValueOf(answer)
	if !v.IsValid() || v.Kind() != reflect.Slice {
		return withVersion{answer}, nil
	}
	list := make([]withVersion, v.Len())
	for i := range list {
		list[i].object = v.Index(i).Interface()
	}
	return list, nil
}

// withVersion is an object as it is answered.
type withVersion struct{ object any }

// MarshalJSON writes the version before the object's fields. What is no object, or has one, stays as it is.
func (w withVersion) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(w.object)
	if err != nil || !bytes.HasPrefix(data, []byte("{")) || bytes.HasPrefix(data, []byte(`{"v":`)) {
		return data, err
	}
	if bytes.Equal(data, []byte("{}")) {
		return []byte(`{"v":1}`), nil
	}
	return append([]byte(`{"v":1,`), data[1:]...), nil
}

// describeVersions adds the version to the description of every answer.
func describeVersions(doc *huma.OpenAPI) {
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post} {
			if op == nil {
				continue
			}
			for _, response := range op.Responses {
				for _, media := range response.Content {
					describeVersion(doc.Components.Schemas, media.Schema)
				}
			}
		}
	}
}

func describeVersion(schemas huma.Registry, schema *huma.Schema) {
	if schema != nil && schema.Type == huma.TypeArray {
		schema = schema.Items
	}
	if schema != nil && schema.Ref != "" {
		schema = schemas.SchemaFromRef(schema.Ref)
	}
	if schema == nil || schema.Type != huma.TypeObject || schema.Properties["v"] != nil {
		return
	}
	schema.Properties["v"] = &huma.Schema{Type: huma.TypeInteger, Description: "the version of the objects, always 1", Enum: []any{1}}
}
