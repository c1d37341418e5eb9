// Before anything else: who are you? A token goes to the plane once, and is not kept by the page.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { login } from '../api/session';
import { Button, Command, ErrorNotice, Field } from '../design/parts';
import { Icon } from '../design/glyphs';

export function Login() {
  const [token, setToken] = useState('');
  const client = useQueryClient();
  const enter = useMutation({
    mutationFn: (by: 'token' | 'certificate') => login(by === 'token' ? token.trim() : undefined),
    onSuccess: () => client.resetQueries(),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (token.trim() !== '') enter.mutate('token');
  };
  return (
    <main className="login">
      <h1 className="row">
        <Icon name="campaign" /> Quarterdeck
      </h1>
      <p className="muted">Log in with a token, or with the certificate that your browser has.</p>
      {enter.isError && <ErrorNotice error={enter.error} />}
      <form className="stack" onSubmit={submit}>
        <Field label="Token" hint="Of a service account, or of your OpenID Connect issuer.">
          {(ids) => (
            <input
              {...ids}
              className="input"
              type="password"
              autoComplete="off"
              autoFocus
              value={token}
              onChange={(event) => setToken(event.target.value)}
            />
          )}
        </Field>
        <div className="row">
          <Button look="primary" type="submit" barred={token.trim() === '' && 'Paste a token first.'}>
            Log in
          </Button>
          <Button onClick={() => enter.mutate('certificate')}>Use my certificate</Button>
        </div>
      </form>
      <div className="stack">
        <h2>No token yet?</h2>
        <p className="muted">Whoever runs the plane makes one for a service account of your team:</p>
        <Command line="kubectl create token NAME -n TEAM --duration=8h" />
      </div>
    </main>
  );
}
