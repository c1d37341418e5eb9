// The fields of a runbook's parameters, by their types.
import { Field } from '../../design/parts';
import { asText, type Parameter, type Typed } from './parameters';

export function ParameterFields({
  parameters,
  typed,
  wrong,
  onChange,
}: {
  parameters: Parameter[];
  typed: Typed;
  wrong: Record<string, string>;
  onChange: (typed: Typed) => void;
}) {
  return parameters.map((parameter) => {
    const value = typed[parameter.name] ?? '';
    const set = (text: string) => onChange({ ...typed, [parameter.name]: text });
    const options = parameter.type === 'boolean' ? ['true', 'false'] : parameter.enum?.map(asText);
    const given = asText(parameter.default);
    return (
      <Field
        key={parameter.name}
        label={parameter.required ? `${parameter.name} (required)` : parameter.name}
        hint={parameter.description}
        wrong={wrong[parameter.name]}
      >
        {(ids) =>
          options ? (
            <select {...ids} className="select" value={value} onChange={(event) => set(event.target.value)}>
              <option value="">{given === '' ? 'not said' : `${given} (as the runbook has it)`}</option>
              {options
                .filter((option) => option !== given)
                .map((option) => (
                  <option key={option}>{option}</option>
                ))}
            </select>
          ) : parameter.type === 'array' || parameter.type === 'object' ? (
            <textarea
              {...ids}
              className="input mono"
              rows={3}
              placeholder={given}
              value={value}
              onChange={(event) => set(event.target.value)}
            />
          ) : (
            <input
              {...ids}
              className="input"
              inputMode={parameter.type === 'string' ? 'text' : 'numeric'}
              placeholder={given}
              value={value}
              onChange={(event) => set(event.target.value)}
            />
          )
        }
      </Field>
    );
  });
}
