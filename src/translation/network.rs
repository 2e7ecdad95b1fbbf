//! The ONNX graph on its way: nodes, constants, and which value holds which tensor.
//!
//! Owns names and orders. Each tensor is held by a value for each order in which it was needed so far; asking for
//! another order writes the transposition, once.

mod limits;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

pub(super) use self::limits::Limits;
use super::{Order, TranslationError, Trouble, refused};
use crate::onnx::proto::{
    AttributeProto, AttributeType, DimensionProto, DimensionValue, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, TypeValue, ValueInfoProto,
};
use crate::onnx::{ElementType, Model};
use crate::tflite::{self, Activation, Constant, Operator, Quantization, Tensor, TensorId, TfliteError, Values};

/// The operator set: the newest that the Model Optimizer of 2021.4 reads without exception.
const OPSET: i64 = 11;
/// The first version of the model format that goes with it.
const IR_VERSION: i64 = 6;

/// From how many bytes on a constant is written once, however often it is read: layers can share their weights.
const LARGE: usize = 256;

/// Where each dimension of a channels-first value stands in the stored order.
pub(super) const CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
/// Where each dimension of a stored value stands in the channels-first order.
const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

/// An attribute of a node.
#[derive(Clone, Debug)]
pub(super) enum Attribute {
    Integer(&'static str, i64),
    Integers(&'static str, Vec<i64>),
    Float(&'static str, f32),
    Text(&'static str, &'static str),
}

/// The values that hold a tensor, by order.
#[derive(Clone, Debug, Default)]
struct Held {
    as_stored: Option<String>,
    channels_first: Option<String>,
}

impl Held {
    const fn slot(&mut self, order: Order) -> &mut Option<String> {
        match order {
            Order::AsStored => &mut self.as_stored,
            Order::ChannelsFirst => &mut self.channels_first,
        }
    }
}

/// A result that is being written: what comes first is computed into `raw`, and the activation makes `name` of it.
pub(super) struct Pending {
    /// Where the operator itself writes.
    pub(super) raw: String,
    name: String,
    activation: Activation,
}

/// The graph on its way.
pub(super) struct Network<'model> {
    model: &'model tflite::Model,
    outputs: HashSet<TensorId>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Where large initializers are, by a digest of what they hold.
    large: HashMap<u64, Vec<usize>>,
    inputs: Vec<ValueInfoProto>,
    held: HashMap<TensorId, Held>,
    /// The real and the imaginary values that hold tensors of complex numbers.
    complex: HashMap<TensorId, [String; 2]>,
    fed: HashSet<TensorId>,
    /// Constants that operators make of constants.
    folded: HashMap<TensorId, Constant>,
    names: HashSet<String>,
    /// The least and the greatest element of values, as far as they are known.
    ranges: HashMap<String, [f64; 2]>,
}

/// Whether a transposition leaves all elements where they are.
fn is_trivial(sizes: &[i64]) -> bool {
    match *sizes {
        [_, height, width, channels] => channels == 1 || (height == 1 && width == 1),
        _ => false,
    }
}

/// Returns the sizes of a stored picture with channels first.
pub(super) fn channels_first(sizes: &[i64]) -> Vec<i64> {
    CHANNELS_FIRST.iter().filter_map(|axis| sizes.get(*axis)).copied().collect()
}

impl<'model> Network<'model> {
    pub(super) fn new(model: &'model tflite::Model, outputs: &[TensorId]) -> Self {
        // The tensors' own names are kept for them.
        let names = model.tensors().map(|(_, tensor)| tensor.name.clone()).collect();
        Self {
            model,
            outputs: outputs.iter().copied().collect(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            large: HashMap::new(),
            inputs: Vec::new(),
            held: HashMap::new(),
            complex: HashMap::new(),
            fed: HashSet::new(),
            folded: HashMap::new(),
            names,
            ranges: HashMap::new(),
        }
    }

    /// Returns a tensor of the model.
    pub(super) fn tensor(&self, id: TensorId) -> Result<&'model Tensor, Trouble> {
        self.model.tensor(id).ok_or_else(|| refused("names a tensor that does not exist"))
    }

    /// Returns the name of the only operator of the graph that an operator joins elements with.
    pub(super) fn joins_with(&self, operator: &Operator) -> Result<Option<&'model str>, TfliteError> {
        self.model.joins_with(operator)
    }

    /// Returns the type in which a tensor is computed: what stands for real numbers becomes them.
    pub(super) fn element(&self, id: TensorId) -> Result<ElementType, Trouble> {
        let tensor = self.tensor(id)?;
        match tensor.element {
            _ if !tensor.has_known_shape => Err(refused("has a result whose shape does not follow from its operands")),
            _ if tensor.is_variable => Err(refused(format!("`{}` keeps its value between runs", tensor.name))),
            Some(_) if tensor.quantization.is_some() => Ok(ElementType::Float32),
            Some(element) if element.is_float() => Ok(ElementType::Float32),
            Some(ElementType::String | ElementType::Complex64 | ElementType::Complex128) | None => {
                Err(refused(format!("`{}` is not made of numbers", tensor.name)))
            }
            Some(element) => Ok(element),
        }
    }

    /// Makes a tensor an input of the network.
    pub(super) fn feed(&mut self, id: TensorId, order: Order) {
        let Some(tensor) = self.model.tensor(id).filter(|_| self.fed.insert(id)) else { return };
        let element = self.element(id).unwrap_or(ElementType::Float32);
        let shape = match order {
            Order::AsStored => tensor.shape.clone(),
            Order::ChannelsFirst => channels_first(&tensor.shape),
        };
        self.inputs.push(value_info(&tensor.name, element, &shape));
        let name = match &tensor.quantization {
            None => tensor.name.clone(),
            Some(quantization) => self.real(&tensor.name, quantization),
        };
        if let Some(limits) = Limits::of(tensor) {
            self.know(&name, limits.range);
        }
        *self.held.entry(id).or_default().slot(order) = Some(name);
    }

    /// Writes how the stored integers that are fed become the real numbers they stand for.
    fn real(&mut self, input: &str, quantization: &Quantization) -> String {
        let mut name = input.to_owned();
        if let Some(&zero_point) = quantization.zero_points.first().filter(|zero_point| **zero_point != 0) {
            let zero_point = self.number(&format!("{input}/zero_point"), zero_point as f32);
            name = self.inner("Sub", &[&name, &zero_point], &format!("{input}/shifted"), &[]);
        }
        let scale = self.number(&format!("{input}/scale"), quantization.scales.first().copied().unwrap_or(1.0));
        self.inner("Mul", &[&name, &scale], &format!("{input}/real"), &[])
    }

    /// Returns whether a tensor is an input of the network.
    pub(super) fn is_fed(&self, id: TensorId) -> bool {
        self.fed.contains(&id)
    }

    /// Returns whether a tensor is wanted of the network.
    pub(super) fn is_output(&self, id: TensorId) -> bool {
        self.outputs.contains(&id)
    }

    /// Returns the order in which a value of four dimensions is held.
    pub(super) fn order(&self, id: TensorId) -> Order {
        match self.held.get(&id) {
            Some(Held { as_stored: None, channels_first: Some(_) }) => Order::ChannelsFirst,
            _ => Order::AsStored,
        }
    }

    /// Returns the value that holds a tensor in an order, and writes what it takes.
    pub(super) fn take(&mut self, id: TensorId, order: Order) -> Result<String, Trouble> {
        if let Some(name) = self.held.entry(id).or_default().slot(order).clone() {
            return Ok(name);
        }
        let tensor = self.tensor(id)?;
        let other = match order {
            Order::AsStored => Order::ChannelsFirst,
            Order::ChannelsFirst => Order::AsStored,
        };
        let name = if let Some(constant) = self.constant(id)? {
            let constant = match order {
                Order::AsStored => constant,
                Order::ChannelsFirst => constant.transposed(&CHANNELS_FIRST).ok_or_else(not_a_picture)?,
            };
            self.initializer(&tensor.name, &constant)
        } else if let Some(name) = self.held.entry(id).or_default().slot(other).clone() {
            let wanted = self.value_name(id, order);
            self.reorder(&name, &tensor.shape, order, &wanted)?;
            wanted
        } else {
            return Err(refused(format!("reads `{}`, which is not computed", tensor.name)));
        };
        *self.held.entry(id).or_default().slot(order) = Some(name.clone());
        Ok(name)
    }

    /// Writes a picture of the stored sizes in another order.
    pub(super) fn reorder(&mut self, from: &str, sizes: &[i64], to: Order, wanted: &str) -> Result<(), Trouble> {
        if sizes.len() != 4 {
            return Err(not_a_picture());
        }
        let (shape, order) = match to {
            Order::AsStored => (sizes.to_vec(), CHANNELS_LAST),
            Order::ChannelsFirst => (channels_first(sizes), CHANNELS_FIRST),
        };
        if is_trivial(sizes) {
            self.reshape(from, &shape, wanted);
        } else {
            let order = order.iter().map(|axis| *axis as i64).collect();
            self.node("Transpose", &[from], wanted, &[Attribute::Integers("perm", order)]);
        }
        Ok(())
    }

    /// Returns a value whose elements lie as those of the tensor as stored, whatever its shape.
    pub(super) fn take_elements(&mut self, id: TensorId) -> Result<String, Trouble> {
        let tensor = self.tensor(id)?;
        let order = if is_trivial(&tensor.shape) { self.order(id) } else { Order::AsStored };
        self.take(id, order)
    }

    /// Returns the numbers of a tensor, if they do not depend on what the network is fed.
    pub(super) fn constant(&self, id: TensorId) -> Result<Option<Constant>, TfliteError> {
        match self.folded.get(&id) {
            _ if self.fed.contains(&id) => Ok(None),
            Some(constant) => Ok(Some(constant.clone())),
            None => self.model.constant(id),
        }
    }

    /// Makes a tensor a constant.
    pub(super) fn fold(&mut self, id: TensorId, constant: Constant) {
        self.folded.insert(id, constant);
    }

    /// Lets the values that hold a tensor hold another one too.
    pub(super) fn share(&mut self, from: TensorId, to: TensorId) -> Result<(), Trouble> {
        if let Some(constant) = self.constant(from)? {
            self.fold(to, constant);
            return Ok(());
        }
        self.take(from, self.order(from))?;
        let held = self.held.get(&from).cloned().unwrap_or_default();
        self.held.insert(to, held);
        Ok(())
    }

    /// Lets a value hold a tensor.
    pub(super) fn hold(&mut self, id: TensorId, order: Order, name: String) {
        *self.held.entry(id).or_default().slot(order) = Some(name);
    }

    /// Returns the real and the imaginary values that hold a tensor of complex numbers.
    pub(super) fn complex(&self, id: TensorId) -> Option<[String; 2]> {
        self.complex.get(&id).cloned()
    }

    /// Lets real and imaginary values hold a tensor of complex numbers.
    pub(super) fn hold_complex(&mut self, id: TensorId, parts: [String; 2]) {
        self.complex.insert(id, parts);
    }

    /// Lets what reads a refused result go on, to find all refusals.
    pub(super) fn give_up(&mut self, id: TensorId) {
        self.held.insert(id, Held { as_stored: Some(String::new()), channels_first: Some(String::new()) });
    }

    /// Names the value that holds a tensor in an order. The tensor's own name goes to the first one; that of an output
    /// goes to the one with the order of outputs.
    fn value_name(&mut self, id: TensorId, order: Order) -> String {
        let Some(tensor) = self.model.tensor(id) else { return String::new() };
        let is_first = self.held.get(&id).is_none_or(|held| held.as_stored.is_none() && held.channels_first.is_none());
        let is_own =
            !self.fed.contains(&id) && if self.outputs.contains(&id) { order == Order::AsStored } else { is_first };
        match order {
            _ if is_own => tensor.name.clone(),
            Order::AsStored => self.fresh(&format!("{}/channels_last", tensor.name)),
            Order::ChannelsFirst => self.fresh(&format!("{}/channels_first", tensor.name)),
        }
    }

    /// Begins to write a tensor in an order, within the limits of its quantization if there is an activation.
    pub(super) fn begin(&mut self, id: TensorId, order: Order, activation: Activation) -> Result<Pending, Trouble> {
        self.element(id)?;
        let activation = self.limited(id, activation);
        let name = self.value_name(id, order);
        *self.held.entry(id).or_default().slot(order) = Some(name.clone());
        let raw = match activation {
            Activation::None => name.clone(),
            _ => self.fresh(&format!("{name}/linear")),
        };
        Ok(Pending { raw, name, activation })
    }

    /// Ends what [`Self::begin`] began.
    pub(super) fn end(&mut self, result: &Pending) {
        let Pending { raw, name, activation } = result;
        match activation {
            Activation::None => {}
            Activation::Relu => self.node("Relu", &[raw], name, &[]),
            Activation::Clip(low, high) => self.clip(raw, [*low, *high], name),
        }
    }

    /// Writes a tensor with one node.
    pub(super) fn write(
        &mut self,
        id: TensorId,
        order: Order,
        operator: &str,
        inputs: &[&str],
        attributes: &[Attribute],
    ) -> Result<(), Trouble> {
        let result = self.begin(id, order, Activation::None)?;
        self.node(operator, inputs, &result.raw, attributes);
        Ok(())
    }

    /// Adds a `Clip`.
    pub(super) fn clip(&mut self, input: &str, [low, high]: [f64; 2], output: &str) {
        let least = self.number(&format!("{output}/minimum"), low as f32);
        let greatest = self.number(&format!("{output}/maximum"), high as f32);
        self.node("Clip", &[input, &least, &greatest], output, &[]);
        self.know(output, [low, high]);
    }

    /// Adds a `Reshape`.
    pub(super) fn reshape(&mut self, input: &str, shape: &[i64], output: &str) {
        let shape = self.list(&format!("{output}/shape"), shape);
        self.node("Reshape", &[input, &shape], output, &[]);
    }

    /// Adds a node with one result.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: &[Attribute]) {
        self.node_of_many(operator, inputs, &[output], attributes);
    }

    /// Adds a node in the middle of a translation; returns the name of its result.
    pub(super) fn inner(&mut self, operator: &str, inputs: &[&str], wanted: &str, attributes: &[Attribute]) -> String {
        let name = self.fresh(wanted);
        self.node(operator, inputs, &name, attributes);
        name
    }

    /// Adds a node.
    pub(super) fn node_of_many(&mut self, operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Attribute]) {
        self.learn(operator, inputs, outputs);
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.nodes.push(NodeProto {
            // Values have one name each, so nodes have too.
            name: outputs.first().map(|output| (*output).to_owned()),
            op_type: Some(operator.to_owned()),
            input: owned(inputs),
            output: owned(outputs),
            attribute: attributes.iter().map(attribute).collect(),
            ..NodeProto::default()
        });
    }

    /// Returns a name that nothing has.
    pub(super) fn fresh(&mut self, wanted: &str) -> String {
        let numbered = (1_u64..).map(|number| format!("{wanted}_{number}"));
        let name = std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !self.names.contains(name));
        let name = name.unwrap_or_default();
        self.names.insert(name.clone());
        name
    }

    /// Adds a real number; returns its name.
    pub(super) fn number(&mut self, wanted: &str, value: f32) -> String {
        let name = self.initializer(wanted, &Constant { shape: Vec::new(), values: Values::Real(vec![value]) });
        self.know(&name, [value.into(); 2]);
        name
    }

    /// Adds a list of integers, of the type of shapes and axes; returns its name.
    pub(super) fn list(&mut self, wanted: &str, values: &[i64]) -> String {
        let shape = vec![values.len() as i64];
        self.initializer(wanted, &Constant { shape, values: Values::Integer(values.to_vec(), ElementType::Int64) })
    }

    /// Adds a constant; returns its name. Large ones that are there already are not added again.
    pub(super) fn initializer(&mut self, wanted: &str, constant: &Constant) -> String {
        let (element, raw): (ElementType, Vec<u8>) = match &constant.values {
            Values::Real(values) => {
                (ElementType::Float32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Values::Integer(values, element) => {
                // Integers of ONNX are stored in two's complement, shorter ones in fewer bytes.
                let size = usize::try_from(element.bits().unwrap_or(64).div_ceil(8)).unwrap_or(8);
                (*element, values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(size)).collect())
            }
        };
        let tensor = TensorProto {
            data_type: Some(element.code()),
            dims: constant.shape.clone(),
            raw_data: Some(raw.into()),
            ..TensorProto::default()
        };
        let is_large = tensor.raw_data.as_ref().is_some_and(|raw| raw.len() >= LARGE);
        let mut hasher = DefaultHasher::new();
        if is_large {
            tensor.raw_data.hash(&mut hasher);
        }
        let digest = hasher.finish();
        let same = |place: &&usize| {
            let known = self.initializers.get(**place);
            known.is_some_and(|known| TensorProto { name: None, ..known.clone() } == tensor)
        };
        let alike = self.large.get(&digest).and_then(|places| places.iter().find(same));
        if let Some(known) = alike.and_then(|place| self.initializers.get(*place)) {
            return known.name.clone().unwrap_or_default();
        }
        let name = self.fresh(&format!("{wanted}/constant"));
        if is_large {
            self.large.entry(digest).or_default().push(self.initializers.len());
        }
        self.initializers.push(TensorProto { name: Some(name.clone()), ..tensor });
        name
    }

    /// Returns the model.
    pub(super) fn finish(mut self, outputs: &[TensorId]) -> Result<Model, TranslationError> {
        let mut infos = Vec::new();
        for &id in outputs {
            let Some(tensor) = self.model.tensor(id) else { continue };
            let missing = |_| TranslationError::Unreached { output: tensor.name.clone(), tensor: tensor.name.clone() };
            let held = self.take(id, Order::AsStored).map_err(missing)?;
            let element = self.element(id).map_err(missing)?;
            // An input that is an output keeps its name as an input.
            let name = if self.fed.contains(&id) {
                self.fresh(&format!("{}/output", tensor.name))
            } else {
                tensor.name.clone()
            };
            if held != name {
                self.node("Identity", &[&held], &name, &[]);
            }
            infos.push(value_info(&name, element, &tensor.shape));
        }
        let graph = GraphProto {
            name: Some("tflite".to_owned()),
            node: self.nodes,
            initializer: self.initializers,
            input: self.inputs,
            output: infos,
            ..GraphProto::default()
        };
        let proto = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("modelconverter".to_owned()),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(OPSET) }],
            graph: Some(graph),
            ..ModelProto::default()
        };
        Model::from_proto(proto).map_err(TranslationError::Result)
    }
}

fn not_a_picture() -> Trouble {
    refused("reads a tensor that does not have four dimensions")
}

fn value_info(name: &str, element: ElementType, shape: &[i64]) -> ValueInfoProto {
    let dim = shape.iter().map(|size| DimensionProto { value: Some(DimensionValue::Size(*size)), denotation: None });
    let tensor =
        TensorTypeProto { elem_type: Some(element.code()), shape: Some(TensorShapeProto { dim: dim.collect() }) };
    let typed = TypeProto { value: Some(TypeValue::Tensor(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(typed), ..ValueInfoProto::default() }
}

fn attribute(attribute: &Attribute) -> AttributeProto {
    let named = |name: &str, kind: AttributeType| AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind as i32),
        ..AttributeProto::default()
    };
    match attribute {
        Attribute::Integer(name, value) => AttributeProto { i: Some(*value), ..named(name, AttributeType::Int) },
        Attribute::Integers(name, values) => {
            AttributeProto { ints: values.clone(), ..named(name, AttributeType::Ints) }
        }
        Attribute::Float(name, value) => AttributeProto { f: Some(*value), ..named(name, AttributeType::Float) },
        Attribute::Text(name, text) => {
            AttributeProto { s: Some(text.as_bytes().to_vec().into()), ..named(name, AttributeType::String) }
        }
    }
}
