// A new object: a campaign by a form, everything by YAML that the plane checks before anything is created.
import { useMutation } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { lazy, Suspense, useState } from 'react';
import { create, type Manifest } from '../../api/kube';
import { useKinds, type KindInfo } from '../../api/kinds';
import { Button, Command, Empty, ErrorNotice, Loading, Notice } from '../../design/parts';
import { tell } from '../../design/toasts';
import { useOpen } from '../../shell/links';
import { useRunNamespace } from '../run/StartRun';
import { CampaignForm } from './CampaignForm';
import { template } from './templates';
import { parse, print } from '../object/yaml';

const Editor = lazy(() => import('../object/Editor'));

export function Create() {
  const { plural } = useParams({ from: '/new/$plural' });
  const info = useKinds().plural(plural);
  if (!info) {
    return (
      <div className="screen">
        <Empty page title={`The plane has no kind called ${plural}.`} command="kubectl api-resources" />
      </div>
    );
  }
  return info.kind === 'Campaign' ? <CampaignForm info={info} /> : <FromYaml key={plural} info={info} />;
}

function FromYaml({ info }: { info: KindInfo }) {
  const [namespace] = useRunNamespace();
  const [text, setText] = useState(() => print(template(info, namespace)));
  const [checked, setChecked] = useState<string>();
  const navigate = useNavigate();
  const open = useOpen();
  const send = useMutation({
    mutationFn: async (dryRun: boolean) => {
      const read = parse(text);
      if ('wrong' in read) throw new Error(read.wrong);
      return { dryRun, made: await create(info, read.value as unknown as Manifest, dryRun) };
    },
    onSuccess: ({ dryRun, made }) => {
      if (dryRun) {
        setChecked(text);
        return;
      }
      const target = {
        kind: info.kind,
        namespace: made.metadata.namespace ?? null,
        name: made.metadata.name ?? '',
      };
      tell('ok', `${info.kind} ${target.name} is created.`, 'kubectl create -f FILE');
      open(target);
    },
  });
  return (
    <div className="screen stack wide-gap">
      <header className="screen-head flat">
        <h1>New {info.singular}</h1>
        <span className="grow" />
        <Button
          look="plain"
          onClick={() => void navigate({ to: '/inventory/$plural', params: { plural: info.plural } })}
        >
          Leave it
        </Button>
        <Button barred={send.isPending && 'It is being checked.'} onClick={() => send.mutate(true)}>
          Check
        </Button>
        <Button
          look="primary"
          barred={checked !== text && 'Check it first: the plane says what is wrong with it.'}
          onClick={() => send.mutate(false)}
        >
          Create
        </Button>
      </header>
      <p className="muted">{info.description}</p>
      {send.isError && <ErrorNotice error={send.error} />}
      {checked === text && <Notice tone="ok">The plane would take it as it is.</Notice>}
      <div className="yaml-one">
        <Suspense fallback={<Loading />}>
          <Editor text={text} onChange={setText} label={`YAML of a new ${info.singular}`} />
        </Suspense>
      </div>
      <Command line={`kubectl explain ${info.singular}.spec --recursive`} />
    </div>
  );
}
